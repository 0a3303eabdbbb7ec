"""The rules of disks.py, by what they are about. Importing a module registers its rules."""
