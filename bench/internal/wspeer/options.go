// Package wspeer is shared by the WebSocket servers of bench/ws: their flags, their paths and the group of the sockets that receive broadcasts.
package wspeer

import (
	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peer"
)

// Options are the flags of a WebSocket server: those of an HTTP server that has no file.
type Options = httppeer.Options

// Parse parses the command line of a server whose library lacks some features. It ends the program if the command line is invalid.
func Parse(lacks ...peer.Feature) Options { return httppeer.Parse(append(lacks, peer.File)...) }
