# SPDX-License-Identifier: MIT
# kubernetes.mk - images, and the tests that need more than `make test` has.

.PHONY: images image-test drain-test k8s-validate k8s-hpa-test

cluster_test = cd deploy/test && /usr/bin/python3 -B -m cluster

# docker, buildah or podman; IMAGE_BASE=mmdebstrap where no registry is.
images:
	@deploy/images/build

image-test:
	@deploy/local/setup build run test images
	@/usr/bin/python3 -B -m pytest -s -c deploy/test/pytest.ini \
	  deploy/test/check_images.py

# A kubelet, played: REPETITIONS replacements of an api under load.
REPETITIONS ?= 20
drain-test:
	@deploy/local/setup build run test
	@+$(MAKE) --no-print-directory all
	@$(cluster_test).drain $(REPETITIONS)

# Against a real control plane; the first time it is built, for minutes.
k8s-validate:
	@deploy/local/setup test run kubernetes
	@deploy/test/cluster/install static
	@deploy/test/cluster/install control-plane
	@$(cluster_test).validate

RESTARTS ?= 10
k8s-hpa-test:
	@deploy/local/setup build test run monitoring kubernetes loadtest
	@+$(MAKE) --no-print-directory all
	@deploy/test/cluster/install static
	@deploy/test/cluster/install control-plane
	@$(cluster_test).hpa $(RESTARTS)
