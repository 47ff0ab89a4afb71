//! Idempotency for ever in bounded memory.
