// Package tlsio lets a tls.Conn of package crypto/tls serve a connection whose descriptor is read and written by an event loop.
//
// crypto/tls reads and writes a net.Conn that blocks. A [Pipe] is a net.Conn without a descriptor: the loop puts in what it has read from
// the socket, and takes out the records that are to be written. Only a handshake, which cannot be interrupted, needs a goroutine that may
// block; afterwards the tls.Conn is used on the loop and nothing blocks. [Records] counts the records that have come, so that crypto/tls
// is not asked for more than there is, and [HelloComplete] says whether a client's first message is complete, so that a silent client needs
// no goroutine.
//
// # Memory
//
// A connection on which nothing happens has a Pipe of 160 bytes, and what crypto/tls keeps: with TLS 1.3 and AES 4 to 7 KB after small
// records, depending on the ClientHello, and 23 to 38 KB after records of 16 KB, because crypto/tls never makes its input buffer smaller. A
// Pipe gives it one record at a time, which keeps that buffer as small as possible. Package tlstest measures crypto/tls alone.
package tlsio
