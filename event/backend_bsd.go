//go:build darwin || freebsd

package event

import "github.com/evmq/evmq/internal/poller"

// parkByDefault is false until the parked driver has been tested on these systems; Config.Driver can request it.
const parkByDefault = false

func init() {
	backends = []backendEntry{{BackendKqueue, poller.NewKqueue}, {BackendPoll, poller.NewPoll}}
}
