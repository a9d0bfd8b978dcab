package server

import "github.com/evmq/evmq/internal/sock"

// SetCalls makes s call c instead of the kernel. Before Start.
func (s *Server) SetCalls(c sock.Calls) { s.calls = c }
