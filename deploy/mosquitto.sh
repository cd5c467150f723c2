#!/bin/sh
# Makes the broker's password file from the environment, then becomes the broker.
set -eu
umask 077
rm -f /run/broker/passwords
# Asked for by the prompt, as a person is: an argument would show the password in the list of processes.
printf '%s\n%s\n' "$BESS_MQTT_PASSWORD" "$BESS_MQTT_PASSWORD" |
    mosquitto_passwd -c /run/broker/passwords "$BESS_MQTT_USERNAME" >/dev/null
unset BESS_MQTT_PASSWORD
exec mosquitto -c /deploy/mosquitto.conf
