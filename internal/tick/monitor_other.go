//go:build !linux

package tick

// wakeMonitor does nothing: event uses the parked driver by default on Linux only.
func wakeMonitor() {}
