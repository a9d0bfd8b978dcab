package server_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

// EVMQ_BURN=n runs the tests beside n processes that compute without a pause, as on a busy machine: a test that fails there depends on its
// speed. Each process ends at the end of its standard input, which is at the latest when this process ends.
const (
	burnNumber = "EVMQ_BURN"
	burnChild  = "EVMQ_BURN_CHILD"
)

// burn starts the processes that the environment variable demands. In such a process it does not return.
func burn() {
	if os.Getenv(burnChild) != "" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		for n := 0; ; n++ {
			burned = n
		}
	}
	n, err := strconv.Atoi(os.Getenv(burnNumber))
	if err != nil && os.Getenv(burnNumber) != "" {
		panic(fmt.Sprintf("%s: %v", burnNumber, err))
	}
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), burnChild+"=1", "GOMAXPROCS=1")
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			panic(err)
		}
		burners = append(burners, in)
	}
}

var (
	burned  int         // keeps the compiler from removing the loop
	burners []io.Closer // the standard inputs of the processes, which are open as long as this one is
)
