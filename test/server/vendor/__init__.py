"""The vendors that vendors.py serves."""

from vendor import analytics, crm, engagement, search, streams

vendors = [*engagement.vendors, *analytics.vendors, *crm.vendors, *search.vendors, *streams.vendors]
