package httpd

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/evmq/evmq/server"
)

// headSlack is the number of bytes above MaxHeaderBytes that a head may have, as in package net/http.
const headSlack = 4 << 10

// busyText is the response that a connection above MaxConns is sent before it is closed.
const busyText = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 23\r\nConnection: close\r\n\r\n503 Service Unavailable"

// check returns an error if a field that package server does not check is invalid.
func (s *Server) check() error {
	switch {
	case s.MaxHeaderBytes < 0:
		return fmt.Errorf("%w: MaxHeaderBytes is %d", ErrInvalid, s.MaxHeaderBytes)
	case s.Placement > server.OnWorkers:
		return fmt.Errorf("%w: Placement is %d", ErrInvalid, s.Placement)
	case s.Protocols != nil && !s.Protocols.HTTP1() && !s.Protocols.HTTP2():
		return fmt.Errorf("%w: Protocols is %v", ErrInvalid, s.Protocols)
	}
	return nil
}

// config returns the server that holds the connections.
func (s *Server) config(h *connHandler) *server.Server {
	head, idle := s.readHeaderTimeout(), s.idleTimeout()
	workers := s.Workers
	if workers == 0 {
		workers = DefaultWorkers
	}
	return &server.Server{
		Handler: h, NumLoops: s.NumLoops, LoopConfig: s.LoopConfig, ReusePort: s.ReusePort,
		Workers: workers, Queue: s.Queue,
		MaxConns: s.MaxConns, MaxBuffered: s.MaxBuffered, BusyText: busyText,
		IdleTimeout: idle, ReadTimeout: head, FirstRequestTimeout: head,
		CloseTimeout: idle, DrainTimeout: server.DefaultCloseTimeout, WriteTimeout: server.Unlimited, ReplyTimeout: server.Unlimited,
		ReadLimit: s.ReadLimit, WriteLimit: s.WriteLimit, RateGroup: s.RateGroup,
		ProxyProtocol: s.ProxyProtocol, Socket: s.Socket, Logger: s.slogger(),
	}
}

// readHeaderTimeout returns ReadHeaderTimeout or its default.
func (s *Server) readHeaderTimeout() time.Duration {
	if s.ReadHeaderTimeout == 0 {
		return DefaultReadHeaderTimeout
	}
	return s.ReadHeaderTimeout
}

// idleTimeout returns IdleTimeout or its default.
func (s *Server) idleTimeout() time.Duration {
	if s.IdleTimeout == 0 {
		return DefaultIdleTimeout
	}
	return s.IdleTimeout
}

// maxHead returns the largest head that is accepted.
func (s *Server) maxHead() int {
	if s.MaxHeaderBytes == 0 {
		return http.DefaultMaxHeaderBytes + headSlack
	}
	return s.MaxHeaderBytes + headSlack
}

// tlsConfig returns the configuration for listeners with TLS.
func (s *Server) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	config := s.TLSConfig.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if len(config.NextProtos) == 0 {
		if s.Protocols == nil || s.Protocols.HTTP2() {
			config.NextProtos = append(config.NextProtos, "h2")
		}
		if s.Protocols == nil || s.Protocols.HTTP1() {
			config.NextProtos = append(config.NextProtos, "http/1.1")
		}
	} else {
		config.NextProtos = slices.Clone(config.NextProtos)
	}
	if len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil || certFile != "" || keyFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = append(slices.Clone(config.Certificates), cert)
	}
	return config, nil
}
