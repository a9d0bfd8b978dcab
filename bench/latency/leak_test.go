//go:build linux

package main

import (
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
