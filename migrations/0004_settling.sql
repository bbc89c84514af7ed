-- Settling a lease reads only the invoices that still matter: anyone may ask for many.
CREATE INDEX invoice_to_settle ON invoice (lease, purpose, status, funded_at);
