// Package protocol is memcached's protocols as bytes and values: what a client sends becomes a Request, and what a server
// answers is appended to a buffer. It knows no store, no clock and no connection.
//
// The text protocol is lines of words: Text parses one. A storage command is followed by as many bytes as its line says,
// and CR LF. The meta commands, whose names are two letters, are part of it; their flags are in Request.Meta. The binary
// protocol is frames with a header of 24 bytes: Header parses it, Check says whether its lengths make sense, Split divides the body.
//
// A Request shows parts of the input and has no memory of its own but for a decoded key: it is good as long as the input is.
// Nothing here allocates.
package protocol
