// Package tlsio lets a tls.Conn of package crypto/tls serve a connection whose descriptor is read and written by an event loop.
//
// crypto/tls reads and writes a net.Conn that blocks. A [Pipe] is a net.Conn without a descriptor: the loop puts in what it has read from
// the socket, and takes out the records that are to be written. Only a handshake, which cannot be interrupted, needs a goroutine that may
// block; afterwards the tls.Conn is used on the loop and nothing blocks. [Records] counts the records that have come, so that crypto/tls
// is not asked for more than there is, and [HelloComplete] says whether a client's first message is complete, so that a silent client needs
// no goroutine.
package tlsio
