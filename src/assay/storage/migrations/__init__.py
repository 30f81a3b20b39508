"""How databases of earlier releases become those of this one: one folder of scripts per database."""
