"""`finesweep compare`: runs beside each other, grouped over seeds, with the luck in their differences."""
