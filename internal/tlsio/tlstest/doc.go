// Package tlstest makes connections of package crypto/tls for tests and benchmarks of the memory that an idle one keeps. [Hold] makes
// connections of crypto/tls alone, each over a [Conn], which is a descriptor and nothing else, so that what remains in the heap is
// crypto/tls's own. An [Exchange] is the client of such a connection, or of a server that is compared with it.
package tlstest
