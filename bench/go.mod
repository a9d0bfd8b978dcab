module github.com/evmq/evmq/bench

go 1.26.0

require (
	github.com/evmq/evmq v0.0.0
	golang.org/x/sys v0.49.0
)

require go.uber.org/goleak v1.3.0 // indirect

replace github.com/evmq/evmq => ../
