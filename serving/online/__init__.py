"""Online features: what a request leaves out is looked up in Feast's online store by the request's entity."""
