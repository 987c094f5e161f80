"""What goes out over MQTT. Nothing comes in."""
