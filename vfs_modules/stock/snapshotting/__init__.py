"""Where `shadow_copy` finds snapshots: in folders by their names, and on Btrfs by what it knows of its subvolumes."""
