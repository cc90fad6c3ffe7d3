// An app with next-auth 4, its adapter for PostgreSQL, and sessions in the database.
import { createServer } from "node:http"
import { createRequire } from "node:module"
import PostgresAdapter from "@auth/pg-adapter"
import pg from "pg"

const { getServerSession } = createRequire(import.meta.url)("next-auth/next")

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const options = {
  adapter: PostgresAdapter(pool),
  providers: [],
  secret: process.env.NEXTAUTH_SECRET,
  session: { strategy: "database", maxAge: 3600, updateAge: 0 },
  callbacks: {
    session: ({ session, user }) => ({ ...session, user: { ...session.user, id: user.id } }),
  },
}

function cookiesOf(request) {
  const pairs = (request.headers.cookie ?? "").split("; ").map((pair) => pair.split("="))
  return Object.fromEntries(pairs.filter(([name]) => name))
}

// As Next.js gives them to an API route.
async function answer(request, response) {
  request.cookies = cookiesOf(request)
  const path = request.url.split("?")[0]
  let body = { headers: request.headers }
  if (path === "/api/me") body = { session: await getServerSession(request, response, options) }
  if (path === "/logout") {
    const token = request.cookies["next-auth.session-token"]
    await options.adapter.deleteSession(token)
    body = { ended: true }
  }
  response.setHeader("Content-Type", "application/json")
  response.end(JSON.stringify(body))
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error)
    response.statusCode = 500
    response.end("{}")
  })
}).listen(Number(process.env.PORT), "127.0.0.1")
