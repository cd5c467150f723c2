#!/bin/sh
# Writes the broker's password file from the environment, then becomes the broker.
set -eu
umask 077
printf '%s:%s\n' "$BESS_MQTT_USERNAME" "$BESS_MQTT_PASSWORD" >/run/broker/passwords
mosquitto_passwd -U /run/broker/passwords
unset BESS_MQTT_PASSWORD
exec mosquitto -c /deploy/mosquitto.conf
