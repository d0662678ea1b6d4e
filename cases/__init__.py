"""What a case is: reading, checking, importing, and the synthetic road."""
