"""Who may propose and what is final: Simplex, certificates, the signing guard and sync."""
