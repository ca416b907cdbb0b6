"""From config files and the words of a command to composed configs, by Hydra or as Hydra would."""
