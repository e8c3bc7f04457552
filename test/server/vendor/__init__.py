"""The vendors that vendors.py serves."""

from vendor import analytics, apps, audiences, crm, engagement, search, stores, streams

vendors = [*engagement.vendors, *analytics.vendors, *apps.vendors, *audiences.vendors,
           *crm.vendors, *search.vendors, *stores.vendors, *streams.vendors]
