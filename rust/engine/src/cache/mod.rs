//! Who holds which KV page, and which prefixes are known. Never sees a key or a value.
