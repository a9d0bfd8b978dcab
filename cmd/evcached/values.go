//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// number is the value of an option that is a whole number within a range. For another value the program exits with status.
func number(to *int, least, most, status int) func(string) error {
	return func(value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fail(status, "must be a number from %d to %d", least, most)
		}
		*to = n
		return nil
	}
}

// megabytes is the value of -m.
func megabytes(to *int64) func(string) error {
	return func(value string) error {
		var n int
		if err := number(&n, 1, math.MaxInt32, statusUsage)(value); err != nil {
			return err
		}
		*to = int64(n) << 20
		return nil
	}
}

// The range of -I.
const (
	leastItem = 1 << 10
	mostItem  = 1 << 30
)

// itemSize is the value of -I: a number of bytes, or of units k or m.
func itemSize(to *int) func(string) error {
	return func(value string) error {
		digits, shift := value, 0
		if value != "" {
			if i := strings.IndexByte("kKmM", value[len(value)-1]); i >= 0 {
				digits, shift = value[:len(value)-1], 10+i/2*10
			}
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if n <<= shift; err != nil || n < leastItem || n > mostItem {
			return usage("must be a size from 1k (1024) to 1024m")
		}
		*to = int(n)
		return nil
	}
}

// mode is the value of -a.
func mode(to *fs.FileMode) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseUint(value, 8, 32)
		if err != nil || n > uint64(fs.ModePerm) {
			return errors.New("must be an octal number from 0 to 777")
		}
		*to = fs.FileMode(n)
		return nil
	}
}
