"""The layouts of published datasets: what their archives hold, as they are unpacked."""
