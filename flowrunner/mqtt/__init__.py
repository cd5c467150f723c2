"""MQTT as such: addresses, topics, payloads, and a client that loses nothing. It knows no nodes and no flows.

``client`` is the door: a :class:`~flowrunner.mqtt.client.Client` stays connected by itself and shares one
connection among many subscribers. Below it stand ``link`` (one connection), ``protocol`` (who answers what) and
``codec`` (packets as bytes).
"""
