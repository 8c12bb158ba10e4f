"""The stand-ins of the local cloud, and Google's own emulators, held to the same cases through the official clients."""
