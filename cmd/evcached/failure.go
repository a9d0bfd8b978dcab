//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
)

// The exit statuses of the program are those of memcached, most of which are from sysexits.h.
const (
	statusIllegal = 1  // an unknown option, or an invalid value
	statusUsage   = 64 // options that cannot be combined
	statusNoUser  = 67 // an unknown user
	statusSystem  = 71 // an error of the system
)

// failure is an error that ends the program with a status.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// illegal returns a failure with statusIllegal; usage, noUser and system return failures with the other statuses.
func illegal(format string, args ...any) error { return fail(statusIllegal, format, args...) }
func usage(format string, args ...any) error   { return fail(statusUsage, format, args...) }
func noUser(format string, args ...any) error  { return fail(statusNoUser, format, args...) }
func system(format string, args ...any) error  { return fail(statusSystem, format, args...) }

func fail(status int, format string, args ...any) error {
	return &failure{status, fmt.Errorf(format, args...)}
}

// status returns the exit status for err.
func status(err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.status
	}
	return statusIllegal
}
