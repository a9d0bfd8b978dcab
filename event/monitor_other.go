//go:build !linux

package event

// wakeMonitor is for the parked driver, which only Linux has by default.
func wakeMonitor() {}
