//go:build !linux

package event

// wakeMonitor does nothing: only Linux uses the parked driver by default.
func wakeMonitor() {}
