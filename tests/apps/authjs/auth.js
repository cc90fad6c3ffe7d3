import NextAuth from "next-auth";
import Credentials from "next-auth/providers/credentials";

const users = [
  { id: "1", username: "alice", password: "wonderland", name: "Alice Liddell", email: "alice@example.com", image: "https://img.example.com/alice.png", roles: ["admin", "editor"] },
  { id: "2", username: "bob", password: "builder", name: "Bob", email: "bob@example.com", image: null, roles: ["viewer"] },
  // Takes more than one cookie.
  { id: "4", username: "big", password: "data", name: "Big Claims", email: "big@example.com", image: null, roles: Array.from({ length: 400 }, (_, i) => `role-${i}`) },
];

export const { handlers, auth } = NextAuth({
  providers: [
    Credentials({
      credentials: { username: {}, password: {} },
      async authorize(credentials) {
        const found = users.find((user) => user.username === credentials?.username && user.password === credentials?.password);
        if (!found) return null;
        const { username, password, ...user } = found;
        return user;
      },
    }),
  ],
  callbacks: {
    jwt({ token, user }) {
      if (user) {
        token.sub = user.id;
        token.roles = user.roles;
      }
      return token;
    },
    session({ session, token }) {
      session.user.id = token.sub;
      session.user.roles = token.roles;
      return session;
    },
  },
});
