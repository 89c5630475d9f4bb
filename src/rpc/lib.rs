//! Requests and answers between agents, over mutual TLS on one port.
