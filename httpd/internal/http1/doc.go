// Package http1 reads the HTTP/1 messages that a server receives: it finds heads in a stream, parses them into the types of package
// net/http, and decodes chunked bodies.
//
// It follows RFC 9112, also where package net/http accepts more than the RFC. So it refuses what net/http accepts: line feeds without a
// carriage return, folded header lines, more than one Content-Length, Content-Length beside Transfer-Encoding, Transfer-Encoding in
// HTTP/1.0, and chunk extensions that do not follow the grammar. Such forms are how one request is hidden in another from a proxy that
// reads them differently.
//
// Nothing in the package blocks, and no function keeps its arguments.
package http1
