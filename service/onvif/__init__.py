"""Cameras that speak ONVIF: found by WS-Discovery, asked for their streams over SOAP."""
