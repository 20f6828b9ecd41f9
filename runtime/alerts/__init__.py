"""Alerts: raised once for as long as their cause lasts."""
