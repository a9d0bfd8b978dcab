package server

import "github.com/evmq/evmq/internal/sock"

// SetCalls makes s call c instead of the kernel. Before Start.
func (s *Server) SetCalls(c sock.Calls) { s.calls = c }

// Records counts TLS records: Add takes bytes, Whole is how many are complete, InOne whether another has begun.
type Records struct{ r records }

func (r *Records) Add(b []byte) { r.r.add(b) }
func (r *Records) Whole() int   { return r.r.whole }
func (r *Records) InOne() bool  { return r.r.have > 0 }
