"""The vendors that vendors.py serves."""

from vendor import analytics, audiences, crm, engagement, search, streams

vendors = [*engagement.vendors, *analytics.vendors, *audiences.vendors,
           *crm.vendors, *search.vendors, *streams.vendors]
