"""Delivery: scheduler, sites, MX resolution, TLS policy, SMTP client, verdict, retry."""
