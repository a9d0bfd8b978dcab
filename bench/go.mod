module github.com/evmq/evmq/bench

go 1.26.0

require (
	github.com/evmq/evmq v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/pires/go-proxyproto v0.15.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/evmq/evmq => ../
