//go:build darwin || freebsd

package event

import "github.com/evmq/evmq/internal/poller"

// parkByDefault waits until somebody has proven the parked driver on such a machine; WithDriver(DriverPark) tries it.
const parkByDefault = false

func init() {
	backends = []backendEntry{{BackendKqueue, poller.NewKqueue}, {BackendPoll, poller.NewPoll}}
}
