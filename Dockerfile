# The steps are those of the Makefile: `make release`, then the binary alone on a small base.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake gcc make && rm -rf /var/lib/apt/lists/*
WORKDIR /tollgate
COPY . .
RUN make release

# glibc, libgcc and nothing else; tests/it/image.rs holds the binary's libraries against this list.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="tollgate" \
      org.opencontainers.image.description="API gateway for microservice teams" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /tollgate/target/release/tollgate /usr/local/bin/tollgate
COPY --from=build /tollgate/routes.toml /etc/tollgate/routes.toml
USER 65532:65532
EXPOSE 8080 9180
ENTRYPOINT ["/usr/local/bin/tollgate"]
CMD ["run", "/etc/tollgate/routes.toml"]
