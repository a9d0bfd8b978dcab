package httpd

import (
	"context"
	"net"
	"net/http"
)

// ListenAndServe listens on the TCP address addr and serves HTTP with handler, which may be nil for http.DefaultServeMux. It always returns an
// error: when the server cannot listen, or cannot accept any more. Requests in progress are then still served. A program that ends its server
// uses a Server. May block; not in a callback.
func ListenAndServe(addr string, handler http.Handler) error {
	s := &Server{Addr: addr, Handler: handler}
	defer s.endInBackground()
	return s.ListenAndServe()
}

// ListenAndServeTLS is ListenAndServe for HTTPS. certFile has the server's certificate, followed by those of its chain, and keyFile the key,
// both in PEM. May block; not in a callback.
func ListenAndServeTLS(addr, certFile, keyFile string, handler http.Handler) error {
	s := &Server{Addr: addr, Handler: handler}
	defer s.endInBackground()
	return s.ListenAndServeTLS(certFile, keyFile)
}

// Serve is ListenAndServe on the connections of l, which it closes; see Server.Serve. May block; not in a callback.
func Serve(l net.Listener, handler http.Handler) error {
	s := &Server{Handler: handler}
	defer s.endInBackground()
	return s.Serve(l)
}

// ServeTLS is Serve for HTTPS. The files are those of ListenAndServeTLS. May block; not in a callback.
func ServeTLS(l net.Listener, handler http.Handler, certFile, keyFile string) error {
	s := &Server{Handler: handler}
	defer s.endInBackground()
	return s.ServeTLS(l, certFile, keyFile)
}

// endInBackground shuts down a server that the program has no reference to, so that its goroutines end after the requests in progress.
func (s *Server) endInBackground() {
	go func() { _ = s.Shutdown(context.Background()) }() // has no error that the program could act on
}
