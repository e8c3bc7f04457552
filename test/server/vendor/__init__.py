"""The vendors that vendors.py serves."""

from vendor import analytics, apps, audiences, crm, engagement, google, oauth, salesforce, search, stores, streams

vendors = [*engagement.vendors, *analytics.vendors, *apps.vendors, *audiences.vendors,
           *crm.vendors, *google.vendors, *oauth.vendors, *salesforce.vendors, *search.vendors, *stores.vendors, *streams.vendors]
