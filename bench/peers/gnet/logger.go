package main

import "log"

// logger logs what goes wrong. The default one of the library reports its start on standard output.
type logger struct{}

func (logger) Debugf(string, ...any)             {}
func (logger) Infof(string, ...any)              {}
func (logger) Warnf(format string, args ...any)  { log.Printf(format, args...) }
func (logger) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (logger) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
