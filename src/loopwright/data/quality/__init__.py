"""What rows must satisfy: values read in their types, checks spelled in SQL, and the judge that runs them."""
