//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// writePID writes the process's number to the file of -P. The file is replaced atomically.
func writePID(file string) error {
	if file == "" {
		return nil
	}
	part := file + ".tmp"
	if err := os.WriteFile(part, []byte(line()), 0o644); err != nil {
		return system("-P %s: %w", file, err)
	}
	if err := os.Rename(part, file); err != nil {
		return system("-P %s: %w", file, errors.Join(err, os.Remove(part)))
	}
	return nil
}

// removePID removes the file, unless it has been removed or replaced by another process.
func removePID(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err == nil && string(text) == line() {
		err = os.Remove(file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("-P %s: %w", file, err)
	}
	return nil
}

// line returns the content of the file.
func line() string { return fmt.Sprintln(os.Getpid()) }
